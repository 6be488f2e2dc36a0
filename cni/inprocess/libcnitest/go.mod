// libcni as a program uses it, with what it needs: a module of its own, so that swiftcni's needs less.
module github.com/swiftcni/swiftcni/cni/inprocess/libcnitest

go 1.26.0

require (
	github.com/containernetworking/cni v1.3.1
	github.com/swiftcni/swiftcni v0.0.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/go-json-experiment/json v1.27.2 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/google/nftables v0.3.0 // indirect
	github.com/mdlayher/netlink v1.11.2 // indirect
	github.com/mdlayher/socket v0.6.0 // indirect
	go.opentelemetry.io/otel v1.29.0 // indirect
	go.opentelemetry.io/otel/trace v1.29.0 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
)

replace github.com/swiftcni/swiftcni => ../../..
