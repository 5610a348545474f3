module fluxdrill.invalid/toolchain/flux/notification-controller

go 1.26.0

replace gopkg.in/yaml.v3 => gopkg.in/yaml.v3 v3.0.1
