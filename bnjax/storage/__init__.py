"""Files that are whole or not there: written, sealed, locked, read with bounds, restored."""
