// Package miniod pins, builds and runs the MinIO server that tests and
// `make run-minio` run. The command minioserver is its use from a shell.
//
// It owns the pin, the binary (one in the user's cache folder for all clones)
// and each server it starts. Start returns one that answers, Stop and Kill
// return when it is gone. It never downloads a binary, and never lets a server
// listen elsewhere than on loopback.
//
// MinIO's server is under the AGPL. varve talks to it over HTTP, as a process
// of its own, and never imports it. The pin must therefore stay out of varve's
// go.mod, where one import would be enough to link it. It is also why varve's
// own dependencies stay few: the server brings several hundred.
//
// The pin is the module here in the folder pin, which holds no code. Its
// go.mod names the version by a `tool` directive, go.sum pins every byte of
// it. The binary is built from here by `make minio`, from source through the
// Go module proxy, because MinIO publishes no binaries of this version. To
// change the version: `go get -tool github.com/minio/minio@<version>` in this
// folder.
package miniod
