// The hello program greets its first argument.
package main

import (
	"fmt"
	"os"

	"example.com/greet"
)

func main() {
	name := "hello"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	fmt.Println(greet.Hello(name))
}
