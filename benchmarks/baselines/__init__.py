"""What a user would write or pick instead, as plainly as they would, to compare with. Nothing of the project is used."""
