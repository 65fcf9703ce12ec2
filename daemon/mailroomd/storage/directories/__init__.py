"""directories — noticing changes in directories: inotify, snapshots, identities."""
