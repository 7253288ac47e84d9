"""The machine below: files, folders, downloads, threads, cores, progress."""
