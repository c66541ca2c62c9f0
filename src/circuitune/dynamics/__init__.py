"""How circuits change through fine-tuning, and what of it is more than chance; see README.md beside this file."""
