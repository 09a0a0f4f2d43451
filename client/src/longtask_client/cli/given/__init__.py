"""What a person gives: words, files and passwords, read into orders."""
