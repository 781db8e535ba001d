"""The pages a browser or OBS shows: the room, the overlay and the control page. Knows nothing of models."""
