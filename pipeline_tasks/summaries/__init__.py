"""What many rows are like, in few numbers: counted in a reference's cells, added up, compared."""
