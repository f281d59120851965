"""A loaded model in a process of its own. `client` is the server's end, `host` the runner's, `messages` what they
say, `frames` and `transport` how."""
