"""Hostile files: whatever is wrong with them, gense says so in one line, soon, and in little memory."""
