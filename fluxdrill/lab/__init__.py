"""A lab put together: cluster, sources, Flux, and what is learnt by watching it."""
