// A load of reports over DMI, for the bench: as many as the agent takes, in order for each device.
//
//	load SOCKET DEVICES VALUES SECONDS
//
// reports VALUES properties (p0, p1, ...) of the devices bench/d0, bench/d1, ... in each call, one call at a time for
// each device, and prints what was accepted as one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"edgetwin.io/peer/dmi"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("usage: load SOCKET DEVICES VALUES SECONDS")
	}
	var numbers [3]int
	for i := range numbers {
		number, err := strconv.Atoi(args[i+1])
		if err != nil || number < 1 {
			return fmt.Errorf("%q is no number above zero", args[i+1])
		}
		numbers[i] = number
	}
	devices, values, seconds := numbers[0], numbers[1], numbers[2]

	connection, err := grpc.NewClient("unix://"+args[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	agent := dmi.NewDeviceManagerServiceClient(connection)

	start := time.Now()
	end := start.Add(time.Duration(seconds) * time.Second)
	var accepted, refused atomic.Uint64
	var failed atomic.Value
	var group sync.WaitGroup
	for device := range devices {
		group.Add(1)
		go func() {
			defer group.Done()
			name := fmt.Sprintf("d%d", device)
			for value := 0; time.Now().Before(end); value++ {
				_, err := agent.ReportDeviceStatus(context.Background(), report(name, values, value))
				switch {
				case err == nil:
					accepted.Add(1)
				case status.Code(err) == codes.ResourceExhausted:
					refused.Add(1)
				default:
					failed.Store(err)
					return
				}
			}
		}()
	}
	group.Wait()
	if err, is := failed.Load().(error); is {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"accepted": accepted.Load(),
		"refused":  refused.Load(),
		"seconds":  time.Since(start).Seconds(),
	})
}

func report(device string, values, value int) *dmi.ReportDeviceStatusRequest {
	text := strconv.Itoa(value)
	twins := make([]*dmi.Twin, values)
	for property := range twins {
		twins[property] = &dmi.Twin{
			PropertyName:    fmt.Sprintf("p%d", property),
			ObservedDesired: &dmi.TwinProperty{},
			Reported:        &dmi.TwinProperty{Value: text},
		}
	}
	return &dmi.ReportDeviceStatusRequest{
		DeviceName:      device,
		DeviceNamespace: "bench",
		ReportedDevice:  &dmi.DeviceStatus{Twins: twins},
	}
}
