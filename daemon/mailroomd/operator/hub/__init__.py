"""hub — what operators do with a hub: set it up, let hosts join, look at them, trust a new key."""
