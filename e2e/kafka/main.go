// A Kafka for the end-to-end tests: franz-go's own stand-in for a cluster, which speaks the protocol over sockets and keeps
// what it has in a folder; and what the tests ask of it.
//
//	kafka serve   -port P -topic T -partitions N [-data DIR] [-user U -password P -mechanism M] [-cert F -key F]
//	kafka produce -broker B -topic T [-partition N] [-codec C] [-header K=V]   one record a line of standard input, in base64
//	kafka offsets -broker B -group G                                           {"topic/partition": offset, …}
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

const patience = 30 * time.Second

func main() {
	commands := map[string]func([]string) error{"serve": serve, "produce": produce, "offsets": offsets}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		log.Fatal("serve, produce or offsets?")
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	port := flags.Int("port", 9092, "")
	topic := flags.String("topic", "otlp_spans", "")
	partitions := flags.Int("partitions", 1, "")
	data := flags.String("data", "", "")
	user, password, mechanism := flags.String("user", "", ""), flags.String("password", "", ""), flags.String("mechanism", "PLAIN", "")
	cert, key := flags.String("cert", "", ""), flags.String("key", "", "")
	_ = flags.Parse(arguments)

	options := []kfake.Opt{kfake.NumBrokers(1), kfake.Ports(*port), kfake.SeedTopics(int32(*partitions), *topic),
		kfake.GroupMinSessionTimeout(time.Second)}
	if *data != "" {
		options = append(options, kfake.DataDir(*data), kfake.SyncWrites())
	}
	if *user != "" {
		options = append(options, kfake.EnableSASL(), kfake.Superuser(*mechanism, *user, *password))
	}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return err
		}
		options = append(options, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return err
	}
	defer cluster.Close()
	fmt.Println("serving", cluster.ListenAddrs())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
	return nil
}

func produce(arguments []string) error {
	flags := flag.NewFlagSet("produce", flag.ExitOnError)
	broker, topic := flags.String("broker", "", ""), flags.String("topic", "otlp_spans", "")
	partition := flags.Int("partition", 0, "")
	codec, header := flags.String("codec", "none", ""), flags.String("header", "", "")
	_ = flags.Parse(arguments)
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	client, err := kgo.NewClient(kgo.SeedBrokers(*broker), kgo.ProducerBatchCompression(codecs[*codec]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		value, err := base64.StdEncoding.DecodeString(lines.Text())
		if err != nil {
			return err
		}
		record := &kgo.Record{Topic: *topic, Partition: int32(*partition), Value: value}
		if name, value, found := strings.Cut(*header, "="); found {
			record.Headers = []kgo.RecordHeader{{Key: name, Value: []byte(value)}}
		}
		records = append(records, record)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return client.ProduceSync(ctx, records...).FirstErr()
}

func offsets(arguments []string) error {
	flags := flag.NewFlagSet("offsets", flag.ExitOnError)
	broker, group := flags.String("broker", "", ""), flags.String("group", "", "")
	_ = flags.Parse(arguments)
	client, err := kgo.NewClient(kgo.SeedBrokers(*broker))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	fetched, err := kadm.NewClient(client).FetchOffsets(ctx, *group)
	if err != nil {
		return err
	}
	committed := map[string]int64{}
	fetched.Each(func(of kadm.OffsetResponse) {
		committed[fmt.Sprintf("%s/%d", of.Topic, of.Partition)] = of.At
	})
	return json.NewEncoder(os.Stdout).Encode(committed)
}
