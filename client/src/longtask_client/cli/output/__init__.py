"""What the API answers, for people and for programs: as text by noun, as data, live or once."""
