"""The machine below: files, folders, threads, cores, progress."""
