"""The same 25 runs in every format that is read, damaged files, and large ones."""
