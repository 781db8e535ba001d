"""What chat said: read, kept, forgotten, cleaned and split. Knows nothing of models or of speaking."""
