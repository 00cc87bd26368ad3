"""AVA's csv files and label maps."""
