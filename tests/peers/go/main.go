// A mapper that shares no line with ours: grpc-go, with code generated from the contract.
//
// It registers with an agent, serves the agent's calls on a socket of its own, and calls the agent as the lines of
// its standard input say:
//
//	{"call":"ReportDeviceStatus","request":{…protobuf JSON…},"times":1,"parallel":1}
//
// With times > 1 the value of each reported twin becomes the number of the call. Each line of its standard output
// is one JSON object with a member "event": listening, answer, device, model, called. It ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	_ "google.golang.org/protobuf/types/known/structpb"   // for the JSON form of configData
	_ "google.golang.org/protobuf/types/known/wrapperspb" // likewise

	"edgetwin.io/peer/dmi"
)

var (
	agent    = flag.String("agent", "", "path of the agent's socket")
	dial     = flag.String("dial", "path", "path: the bare path, as KubeEdge's mappers do; url: unix://<path>")
	fresh    = flag.Bool("fresh", false, "a new connection for each call, as KubeEdge's mappers do")
	listen   = flag.String("listen", "", "path of the own socket")
	name     = flag.String("name", "go-peer", "name of the mapper")
	protocol = flag.String("protocol", "modbus", "protocol of the mapper")
)

var output sync.Mutex

func emit(event map[string]any) {
	line, err := json.Marshal(event)
	if err != nil {
		fatal(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func asJSON(message proto.Message) json.RawMessage {
	text, err := protojson.Marshal(message)
	if err != nil {
		fatal(err)
	}
	return text
}

// The agent's calls: each is printed, and answered as a mapper of KubeEdge's would.
type mapper struct {
	dmi.UnimplementedDeviceMapperServiceServer
}

func (mapper) RegisterDevice(_ context.Context, in *dmi.RegisterDeviceRequest) (*dmi.RegisterDeviceResponse, error) {
	return &dmi.RegisterDeviceResponse{DeviceName: in.GetDevice().GetName()}, nil
}

func (mapper) UpdateDevice(context.Context, *dmi.UpdateDeviceRequest) (*dmi.UpdateDeviceResponse, error) {
	return &dmi.UpdateDeviceResponse{}, nil
}

func (mapper) RemoveDevice(context.Context, *dmi.RemoveDeviceRequest) (*dmi.RemoveDeviceResponse, error) {
	return &dmi.RemoveDeviceResponse{}, nil
}

func (mapper) CreateDeviceModel(_ context.Context, in *dmi.CreateDeviceModelRequest) (*dmi.CreateDeviceModelResponse, error) {
	return &dmi.CreateDeviceModelResponse{DeviceModelName: in.GetModel().GetName()}, nil
}

func (mapper) UpdateDeviceModel(context.Context, *dmi.UpdateDeviceModelRequest) (*dmi.UpdateDeviceModelResponse, error) {
	return &dmi.UpdateDeviceModelResponse{}, nil
}

func (mapper) RemoveDeviceModel(context.Context, *dmi.RemoveDeviceModelRequest) (*dmi.RemoveDeviceModelResponse, error) {
	return &dmi.RemoveDeviceModelResponse{}, nil
}

func printed(ctx context.Context, in any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	emit(map[string]any{
		"event":   "called",
		"call":    path.Base(info.FullMethod),
		"request": asJSON(in.(proto.Message)),
	})
	return next(ctx, in)
}

func serve() error {
	os.Remove(*listen)
	listener, err := net.Listen("unix", *listen)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(printed))
	dmi.RegisterDeviceMapperServiceServer(server, mapper{})
	go func() { fatal(server.Serve(listener)) }()
	emit(map[string]any{"event": "listening", "socket": *listen})
	return nil
}

func connect() (*grpc.ClientConn, error) {
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())
	if *dial == "url" {
		return grpc.Dial("unix://"+*agent, plain)
	}
	// The old Dial passes the path through, so that it becomes the authority.
	return grpc.Dial(*agent, plain, grpc.WithContextDialer(
		func(ctx context.Context, address string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", address)
		}))
}

// One line of the input.
type command struct {
	Call     string
	Request  json.RawMessage
	Times    int64
	Parallel int64
}

type messages struct{ request, response func() proto.Message }

var calls = map[string]messages{
	"MapperRegister": {
		func() proto.Message { return &dmi.MapperRegisterRequest{} },
		func() proto.Message { return &dmi.MapperRegisterResponse{} },
	},
	"ReportDeviceStatus": {
		func() proto.Message { return &dmi.ReportDeviceStatusRequest{} },
		func() proto.Message { return &dmi.ReportDeviceStatusResponse{} },
	},
	"ReportDeviceStates": {
		func() proto.Message { return &dmi.ReportDeviceStatesRequest{} },
		func() proto.Message { return &dmi.ReportDeviceStatesResponse{} },
	},
}

func number(request proto.Message, count int64) {
	if report, ok := request.(*dmi.ReportDeviceStatusRequest); ok {
		for _, twin := range report.GetReportedDevice().GetTwins() {
			twin.Reported.Value = strconv.FormatInt(count, 10)
		}
	}
}

type tally struct {
	ok, failed atomic.Int64
	last       sync.Mutex
	response   proto.Message
	headers    metadata.MD
	err        error
}

func (t *tally) one(connection *grpc.ClientConn, call string, request proto.Message) {
	var err error
	if connection == nil {
		connection, err = connect()
		if err == nil {
			defer connection.Close()
		}
	}
	response, headers := calls[call].response(), metadata.MD{}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = connection.Invoke(ctx, "/v1beta1.DeviceManagerService/"+call, request, response, grpc.Header(&headers))
	}
	t.last.Lock()
	defer t.last.Unlock()
	t.response, t.headers = response, headers
	if err != nil {
		t.failed.Add(1)
		t.err = err
	} else {
		t.ok.Add(1)
	}
}

func run(connection *grpc.ClientConn, todo command) error {
	call, known := calls[todo.Call]
	if !known {
		return fmt.Errorf("unknown call %q", todo.Call)
	}
	first := call.request()
	if err := protojson.Unmarshal(todo.Request, first); err != nil {
		return fmt.Errorf("%s: %w", todo.Call, err)
	}
	if *fresh {
		connection = nil
	}
	var (
		sum     tally
		next    atomic.Int64
		workers sync.WaitGroup
	)
	start := time.Now()
	for range max(todo.Parallel, 1) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			request := proto.Clone(first)
			for {
				count := next.Add(1)
				if count > max(todo.Times, 1) {
					return
				}
				if todo.Times > 1 {
					number(request, count)
				}
				sum.one(connection, todo.Call, request)
			}
		}()
	}
	workers.Wait()
	seconds := time.Since(start).Seconds()
	if answer, ok := sum.response.(*dmi.MapperRegisterResponse); ok {
		for _, device := range answer.DeviceList {
			emit(map[string]any{"event": "device", "device": asJSON(device)})
		}
		for _, model := range answer.ModelList {
			emit(map[string]any{"event": "model", "model": asJSON(model)})
		}
	}
	outcome := status.Convert(sum.err)
	emit(map[string]any{
		"event": "answer", "call": todo.Call, "code": outcome.Code().String(), "message": outcome.Message(),
		"headers": sum.headers, "ok": sum.ok.Load(), "failed": sum.failed.Load(), "seconds": seconds,
	})
	return nil
}

func main() {
	flag.Parse()
	if err := serve(); err != nil {
		fatal(err)
	}
	connection, err := connect()
	if err != nil {
		fatal(err)
	}
	registration := &dmi.MapperRegisterRequest{
		WithData: true,
		Mapper: &dmi.MapperInfo{
			Name: *name, Version: "v1.13.0", ApiVersion: "v1.0.0", Protocol: *protocol,
			Address: []byte(*listen), State: "ok",
		},
	}
	todo := command{Call: "MapperRegister", Request: asJSON(registration)}
	if err := run(connection, todo); err != nil {
		fatal(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var todo command
		if err := json.Unmarshal(lines.Bytes(), &todo); err != nil {
			fatal(err)
		}
		if err := run(connection, todo); err != nil {
			fatal(err)
		}
	}
}
