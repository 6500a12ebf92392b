# The image of a broker, and of every tool: docker build -t ottla --build-arg VERSION=$(git describe --tags --always) .
#
#   docker run ottla                      a broker; KAFKA_* variables are its settings, as with Kafka's image (KAFKA_ZOOKEEPER_CONNECT=zk:2181)
#   docker run ottla topics --list …      a tool, as "ottla topics --list …"; in the container also by Kafka's name, kafka-topics.sh
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /ottla ./cmd/ottla

FROM debian:bookworm-slim
# The user, the folder of the programs and that of the data are those of Kafka's image.
RUN useradd --uid 1000 --user-group --no-create-home --home-dir /opt/kafka --shell /usr/sbin/nologin appuser \
 && install -d -o appuser -g appuser /var/lib/kafka/data
COPY --from=build /ottla /opt/kafka/bin/ottla
COPY scripts/ /opt/kafka/bin/
COPY config/*.properties /opt/kafka/config/
COPY LICENSE /opt/kafka/
ENV PATH=/opt/kafka/bin:$PATH KAFKA_LOG_DIRS=/var/lib/kafka/data
USER appuser
WORKDIR /opt/kafka
VOLUME /var/lib/kafka/data
EXPOSE 9092
# The orderly stop may take 30 seconds: docker run --stop-timeout 40, or stop_grace_period in a compose file.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["ottla", "healthcheck", "--timeout-ms", "4000"]
ENTRYPOINT ["ottla"]
CMD ["broker", "/opt/kafka/config/server.properties"]
