"""Everything that faces the stream: chat, the companion, its narrator, the overlay and the command line."""
