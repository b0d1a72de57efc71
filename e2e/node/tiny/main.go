// Without arguments: hold the namespaces of a pod, as the sandbox image does. With one: a part in the self-check.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 1 {
		pause()
		return
	}
	var err error
	switch {
	case os.Args[1] == "serve":
		err = serve()
	case os.Args[1] == "get" && len(os.Args) == 3:
		err = get(os.Args[2])
	case os.Args[1] == "burn":
		burn()
	case os.Args[1] == "fill" && len(os.Args) == 3:
		err = fill(os.Args[2])
	default:
		err = fmt.Errorf("usage: tiny [serve | get URL | burn | fill DIRECTORY]")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// pause waits for the end and reaps what the pod's other processes leave behind: it is their process 1.
func pause() {
	received := make(chan os.Signal, 1)
	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for number := range received {
		if number != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err != nil || pid <= 0 {
				break
			}
		}
	}
}

// serve answers every request on port 8080 with the name of the pod.
func serve() error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server := &http.Server{
		Addr: ":8080",
		Handler: http.HandlerFunc(func(writer http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(writer, name)
		}),
		ReadHeaderTimeout: 5 * time.Second,
	}
	go func() {
		<-ended.Done()
		_ = server.Close()
	}()
	fmt.Println("serving as", name)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// get prints the body of a URL; the name in it is resolved by Go itself, from /etc/resolv.conf.
func get(url string) error {
	resolver := &net.Resolver{PreferGo: true}
	dialer := &net.Dialer{Timeout: 5 * time.Second, Resolver: resolver}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: dialer.DialContext}}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

// burn uses one CPU until it is ended.
func burn() {
	for number := uint64(1); ; number++ {
		if number == 0 {
			fmt.Println("round")
		}
	}
}

// fill writes into a directory until it is full, and prints how many bytes went in.
func fill(directory string) error {
	file, err := os.Create(filepath.Join(directory, "ballast"))
	if err != nil {
		return err
	}
	defer file.Close()
	written := 0
	block := make([]byte, 1<<16)
	for written < 1<<30 {
		count, err := file.Write(block)
		written += count
		if err != nil {
			fmt.Println(written)
			return err
		}
	}
	return fmt.Errorf("%s took 1 GiB and was not full", directory)
}
