module fluxdrill.invalid/images/pause

go 1.26.0
