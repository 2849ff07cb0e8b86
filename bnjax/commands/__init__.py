"""What a person types, from the command line to one line for each error."""
