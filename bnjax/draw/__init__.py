"""What all figures share: style, panels, labels, the numbers behind what is drawn."""
