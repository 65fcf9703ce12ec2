"""directories — noticing changes in directories: inotify, watches, patrols, snapshots, safe ways to open and write."""
