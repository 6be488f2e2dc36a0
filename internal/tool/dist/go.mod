// A release's files: a module of its own, so that nobody who imports swiftcni needs what makes packages and images.
module github.com/swiftcni/swiftcni/internal/tool/dist

go 1.26.0

require github.com/swiftcni/swiftcni v0.0.0

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/google/nftables v0.3.0 // indirect
	github.com/mdlayher/netlink v1.11.2 // indirect
	github.com/mdlayher/socket v0.6.0 // indirect
	golang.org/x/net v0.58.0 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
)

replace github.com/swiftcni/swiftcni => ../../..
