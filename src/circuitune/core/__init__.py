"""What every room needs, without model code; see README.md beside this file."""
