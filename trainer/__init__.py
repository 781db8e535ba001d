"""From a corpus to a checkpoint. Knows nothing of Twitch, of pages or of who reads the samples."""
