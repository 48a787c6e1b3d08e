"""Cases go to worker processes, what they answer goes to the journal."""
