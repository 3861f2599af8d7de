"""Makes the bundled tiny model, its measurements and the sample gallery from rendered scenes."""
