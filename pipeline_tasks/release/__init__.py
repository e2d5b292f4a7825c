"""How a candidate comes to answer: publishing, what servers are told, trials, going back."""
