"""Where `aiadmin pull` reads from."""
