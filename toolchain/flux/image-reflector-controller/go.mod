module fluxdrill.invalid/toolchain/flux/image-reflector-controller

go 1.26.0
