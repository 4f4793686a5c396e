"""What networks are put together from.  A network of its own stands in models/, one file each."""
