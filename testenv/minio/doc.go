// Package minio holds no code. It pins the MinIO server that tests and
// `make run-minio` run, in a module of its own.
//
// MinIO's server is under the AGPL. varve talks to it over HTTP, as a process
// of its own, and never imports it: the pin must therefore stay out of varve's
// go.mod, where one import would be enough to link it. It is also why varve's
// own dependencies stay few: the server brings several hundred.
//
// go.mod names the version by a `tool` directive, go.sum pins every byte of
// it. The binary is built from here by `make minio`, from source through the
// Go module proxy, because MinIO publishes no binaries of this version. To
// change the version: `go get -tool github.com/minio/minio@<version>` in this
// folder.
package minio
