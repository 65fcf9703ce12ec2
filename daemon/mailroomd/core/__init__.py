"""core — decisions without input or output: restart policy, retry, limits. Pure, so that tests need no process."""
