"""The providers: what makes, breaks and destroys clusters."""
