"""Which machine this is, and jobs in fresh processes on it or on others."""
