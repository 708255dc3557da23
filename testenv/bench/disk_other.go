//go:build !linux

package main

import "os"

func fdatasync(f *os.File) error { return f.Sync() }

func syncAll(string) error { return nil }

// dropPages does nothing: reads of a folder come from the system's memory.
func dropPages(string) error { return nil }
