"""Tables that somebody published become plain observations, with a note of what was understood and what was not."""
