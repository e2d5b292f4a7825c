"""Sources: rows from files, databases, web pages and data sets."""
