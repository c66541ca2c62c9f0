"""From a recipe to a run folder; see the README beside this file."""
