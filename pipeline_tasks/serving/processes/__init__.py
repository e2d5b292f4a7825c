"""The server's processes: started, watched, drained, and seen as one."""
