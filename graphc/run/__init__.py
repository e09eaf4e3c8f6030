"""Programs at work: training runs and sweeps as native calls, their threads, data, callbacks and history."""
