"""Ways to tell other systems, and people, what happens in releases."""
