// Package stored pins, builds and runs object stores that speak S3 and are not MinIO, for
// the table of stores in the README.
//
// It owns the pins, the binaries (one of each in the user's cache folder for all clones)
// and each server it starts. Start returns one that answers, Stop and Kill return when it
// is gone. It never downloads a binary, and never lets a server listen elsewhere than on
// loopback.
//
// Each store is a process of its own, to which varve speaks HTTP: it is never imported.
// Its pin is a module of its own, so that its hundreds of dependencies stay out of varve's
// go.mod. To change a version, run go get -tool PACKAGE@VERSION in the folder of the pin.
package stored
