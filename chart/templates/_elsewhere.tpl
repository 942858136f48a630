{{/*
Values under names of other charts: each is refused with the name that it has here, all of a file in one message. The
schema judges the types of values; which values there are is judged here alone.
*/}}

{{/* Every value, by the object that it stands in. An object that is not listed takes what its owner likes. */}}
{{- define "netmon.known" -}}
.: [affinity, commonAnnotations, commonLabels, config, daemonSetAnnotations, dnsConfig, dnsPolicy, enabled, extraCapabilities, extraObjects, extraVolumeMounts, extraVolumes, fullnameOverride, global, grafanaDashboard, hostAliases, hostNetwork, image, imagePullSecrets, livenessProbe, minReadySeconds, nameOverride, networkPolicy, nodeSelector, opencost, openshift, podAnnotations, podLabels, podMonitor, podSecurityContext, priorityClassName, prometheusRule, prometheusScrape, rbac, readinessProbe, resources, revisionHistoryLimit, securityContext, securityProfile, service, serviceAccount, serviceMonitor, startupProbe, state, terminationGracePeriodSeconds, tolerations, topology, updateStrategy]
config: [bindHost, caFile, cgroupFs, cleanupInterval, clusterCidrs, clusterId, clusterToken, collectorMode, conntrackZone, containerPort, dakrProtocol, dakrUrl, dns, dnsPorts, existingSecret, exportInterval, extraArgs, extraEnv, extraEnvFrom, fallback, logFormat, logLevel, mainConfigMapName, manageConntrack, maxConnections, maxRows, metricsAllow, metricsFormat, outsideCidrs, overlayPorts, pushInbound, readInterval, tokenSecretName]
config.existingSecret: [key, name]
grafanaDashboard: [annotations, enabled, labels, namespace]
image: [digest, pullPolicy, registry, repository, tag]
networkPolicy: [enabled, from]
opencost: [enabled, hold]
openshift: [scc]
podMonitor: [enabled, honorLabels, interval, labels, metricRelabelings, namespace, relabelings, scrapeTimeout]
prometheusRule: [enabled, groups, labels, namespace]
rbac: [create]
resources: [claims, limits, requests]
service: [annotations, enabled]
serviceAccount: [annotations, create, name]
serviceMonitor: [enabled, honorLabels, interval, labels, metricRelabelings, namespace, relabelings, scrapeTimeout]
state: [hostPath, type]
topology: [existingConfigMap, publish, ranges, region, source, zone]
topology.existingConfigMap: [key, name]
topology.publish: [enabled, pods, resources]
updateStrategy: [rollingUpdate, type]
{{- end -}}

{{/* Objects of other charts whose values are those of an object here; "." is the top. */}}
{{- define "netmon.folders" -}}
.: [agent, agents, collector, container, controller, daemonSet, daemonset, deployment, netmon, networkCosts, networkMonitor, pod, zxporter-netmon, zxporterNetmon]
config: [agent.config, agents.config, settings, zxporter]
grafanaDashboard: [dashboard, dashboards, grafana.dashboard, grafana.dashboards, grafanaDashboards, metrics.dashboard, metrics.grafanaDashboard]
image: [images.agent, images.netmon]
podMonitor: [metrics.podMonitor, monitoring.podMonitor, podmonitor, prometheus.podMonitor]
prometheusRule: [alerting, alerts, metrics.prometheusRule, monitoring.prometheusRule, prometheus.prometheusRule, prometheus.rule, prometheus.rules, prometheusRules, prometheusrule]
resources: [resources.agent, resources.netmon, resources.zxporter-netmon]
securityContext: [containerSecurityContext]
serviceMonitor: [metrics.serviceMonitor, monitoring.serviceMonitor, prometheus.monitor, prometheus.serviceMonitor, servicemonitor]
{{- end -}}

{{/* By the value here, what others call it. */}}
{{- define "netmon.homes" -}}
affinity.nodeAffinity: [nodeAffinity]
affinity.podAffinity: [podAffinity]
affinity.podAntiAffinity: [podAntiAffinity]
commonAnnotations: [additionalAnnotations, customAnnotations, extraAnnotations]
commonLabels: [additionalLabels, customLabels, extraLabels, labels, service.labels, serviceAccount.labels]
config.bindHost: [bindAddress, config.bindAddress, config.host, config.listenAddress, config.metricsBindAddress, host, listenAddress, metricsBindAddress]
config.caFile: [ca.file, caFile, config.caBundle, config.caCert, config.tls.caFile, tls.caFile]
config.cgroupFs: [cgroup.hostRoot, cgroup.path, cgroupFs, cgroupRoot, config.cgroupRoot]
config.cleanupInterval: [cleanupInterval]
config.clusterCidrs: [clusterCIDR, clusterCIDRs, clusterCidr, clusterCidrs, config.clusterCIDR, config.clusterCIDRs, config.clusterCidr, config.internalCidrs, config.podCIDRs, config.podCidrs, podCIDR, podCIDRs, podCidr, podCidrs, serviceCIDR, serviceCidr]
config.clusterId: [CLUSTER_ID, cluster.id, clusterID, clusterId, config.CLUSTER_ID, config.clusterID, dakr.clusterId]
config.clusterToken: [CLUSTER_TOKEN, apiKey, apiToken, cluster.token, clusterToken, config.CLUSTER_TOKEN, config.apiKey, config.token, dakr.clusterToken, dakr.token, token]
config.collectorMode: [collector.mode, collectorMode, conntrack.enabled, config.mode, ebpf.enabled, mode]
config.conntrackZone: [conntrack.zone, conntrackZone]
config.containerPort: [config.metricsPort, config.port, containerPort, containerPorts.http, containerPorts.metrics, hostPort, httpPort, metrics.port, metricsPort, port, prometheus.port, service.containerPort, service.port, service.targetPort, targetPort]
config.dakrProtocol: [dakr.protocol, dakrProtocol]
config.dakrUrl: [DAKR_URL, config.DAKR_URL, config.dakr.url, config.dakrURL, config.endpoint, config.url, controlPlane.url, dakr.address, dakr.baseUrl, dakr.endpoint, dakr.url, dakrURL, dakrUrl, endpoint, serverUrl, url]
config.dns: [dns, dns.enabled, dnsEnabled, enableDns]
config.dnsPorts: [dns.ports, dnsPorts]
config.existingSecret: [existingSecret]
config.existingSecret.key: [config.existingSecret.clusterTokenKey, config.existingSecretKey, existingSecret.clusterTokenKey, existingSecret.key, existingSecretKey, tokenSecretKey, tokenSecretRef.key]
config.existingSecret.name: [apiKeyExistingSecret, config.existingSecretName, dakr.existingSecret, dakr.tokenSecret, existingSecret.name, existingSecretName, secretName, tokenSecret, tokenSecretRef.name]
config.exportInterval: [FLUSH_INTERVAL, config.FLUSH_INTERVAL, config.flushInterval, config.interval, config.pushInterval, exportInterval, flushInterval, interval, pushInterval, reportInterval]
config.extraArgs: [additionalArgs, additionalArguments, args, arguments, config.additionalArgs, config.args, extraArgs, extraArguments]
config.extraEnv: [additionalEnv, additionalEnvVars, config.env, env, envVars, environment, envs, extraEnv, extraEnvVars, extraEnvs]
config.extraEnv (HTTPS_PROXY): [config.httpsProxy, httpProxy, httpsProxy, proxy, proxy.http, proxy.https, proxy.url]
config.extraEnv (NO_PROXY): [config.noProxy, noProxy, proxy.noProxy]
config.extraEnvFrom: [additionalEnvFrom, config.envFrom, envFrom, envFromSecret, extraEnvFrom, extraEnvVarsCM, extraEnvVarsSecret]
config.logFormat: [config.log.format, log.format, logFormat, logging.format]
config.logLevel: [config.log.level, debug, log.level, logLevel, logging.level, loglevel, verbosity]
config.mainConfigMapName: [config.configMapName, config.existingConfigMap, config.tokenConfigMapName, configMapName, existingConfigMap, mainConfigMapName, tokenConfigMapName]
config.manageConntrack: [conntrack.manage, manageConntrack]
config.maxConnections: [maxConnections]
config.maxRows: [maxRows]
config.metricsAllow: [metrics.allow, metricsAllow]
config.metricsFormat: [metrics.format, metricsFormat]
config.outsideCidrs: [config.externalCidrs, config.outsideCIDRs, externalCidrs, outsideCidrs]
config.overlayPorts: [overlayPorts]
config.pushInbound: [pushInbound]
config.readInterval: [collectionInterval, config.collectionInterval, config.pollInterval, pollInterval, readInterval]
config.tokenSecretName: [config.tokenCredentialsSecretName, tokenCredentialsSecretName, tokenSecretName]
daemonSetAnnotations: [controllerAnnotations, daemonSet.annotations, daemonset.annotations, daemonsetAnnotations, deployment.annotations, deploymentAnnotations]
dnsConfig: [dnsconfig, podDnsConfig]
dnsPolicy: [dnspolicy, podDnsPolicy]
extraCapabilities: [capabilities]
extraObjects: [additionalManifests, additionalResources, extraDeploy, extraManifests, extraResources, extraTemplates]
extraVolumeMounts: [additionalVolumeMounts, config.extraVolumeMounts, daemonSetVolumeMounts, extraHostVolumeMounts, volumeMounts]
extraVolumes: [additionalVolumes, config.extraVolumes, daemonSetVolumes, volumes]
fullnameOverride: [fullName, fullNameOverride, fullname]
grafanaDashboard.enabled: [grafanaDashboard.create]
grafanaDashboard.labels: [grafanaDashboard.additionalLabels, grafanaDashboard.extraLabels, grafanaDashboard.labelKey]
hostAliases: [extraHosts, hostaliases]
image.digest: [image.sha, image.sha256, imageDigest]
image.pullPolicy: [image.imagePullPolicy, imagePullPolicy, pullPolicy]
image.registry: [image.hub, imageRegistry]
image.repository: [image.image, image.name, image.repo, imageName, imageRepository]
image.tag: [image.version, imageTag, tag, version]
imagePullSecrets: [image.imagePullSecrets, image.pullSecret, image.pullSecrets, imagePullSecret, pullSecrets, serviceAccount.imagePullSecrets]
livenessProbe: [customLivenessProbe, liveness, probes.liveness]
nameOverride: [name, nameoverride]
networkPolicy.enabled: [networkPolicy.create]
networkPolicy.from: [networkPolicy.allowFrom, networkPolicy.extraIngress, networkPolicy.ingress]
nodeSelector: [node.selector, nodeSelectors, nodeselector]
opencost.enabled: [kubecost.enabled]
openshift.scc: [openShift.enabled, openshift.createScc, openshift.enabled, scc.create, scc.enabled, securityContextConstraints.create, securityContextConstraints.enabled]
podAnnotations: [annotations, extraPodAnnotations, pod.annotations]
podLabels: [daemonSet.labels, daemonset.labels, extraPodLabels, pod.labels]
podSecurityContext: [pod.securityContext, podSecurity]
priorityClassName: [podPriorityClassName, priorityClass, priorityClass.name]
prometheusRule.enabled: [prometheusRule.create]
prometheusRule.groups: [prometheusRule.additionalGroups, prometheusRule.additionalRules, prometheusRule.extraGroups, prometheusRule.rules]
prometheusRule.labels: [prometheusRule.additionalLabels, prometheusRule.extraLabels, prometheusRule.selector]
prometheusScrape: [metrics.scrape, prometheus.scrape]
rbac.create: [clusterRole.create, clusterRole.enabled, createRbac, rbac.enable, rbac.enabled, rbacEnabled]
readinessProbe: [customReadinessProbe, probes.readiness, readiness]
resources.limits: [limits]
resources.limits.cpu and resources.requests.cpu: [resources.cpu]
resources.limits.memory and resources.requests.memory: [resources.memory]
resources.requests: [requests]
securityContext: [containerSecurityContext]
securityProfile (compat): [privileged]
service.annotations: [serviceAnnotations]
service.enabled: [service.create]
serviceAccount.annotations: [rbac.serviceAccount.annotations, rbac.serviceAccountAnnotations, serviceAccountAnnotations]
serviceAccount.create: [createServiceAccount, rbac.createServiceAccount, rbac.serviceAccount.create, serviceAccount.enabled]
serviceAccount.name: [rbac.serviceAccount.name, rbac.serviceAccountName, serviceAccountName]
startupProbe: [customStartupProbe, probes.startup]
state.hostPath: [persistence.hostPath, stateDir]
state.type: [persistence, persistence.enabled, persistence.type]
terminationGracePeriodSeconds: [gracePeriodSeconds, terminationGracePeriod]
tolerations: [toleration]
topology.ranges: [networkCosts.config.destinations]
topology.region: [region]
topology.zone: [zone]
updateStrategy: [deploymentStrategy, strategy]
updateStrategy.rollingUpdate: [rollingUpdate]
updateStrategy.rollingUpdate.maxUnavailable: [maxUnavailable, updateStrategy.maxUnavailable]
updateStrategy.type: [updateStrategyType]
{{- range list "podMonitor" "serviceMonitor" }}
{{ . }}.enabled: [{{ . }}.create]
{{ . }}.interval: [{{ . }}.scrapeInterval]
{{ . }}.labels: [{{ . }}.additionalLabels, {{ . }}.extraLabels, {{ . }}.selector]
{{ . }}.metricRelabelings: [{{ . }}.metricRelabelConfigs]
{{ . }}.relabelings: [{{ . }}.relabelConfigs]
{{ . }}.scrapeTimeout: [{{ . }}.timeout]
{{- end }}
{{- end -}}

{{/* What this chart has not, by the reason. */}}
{{- define "netmon.never" -}}
this chart is the agent and nothing else: [agent.enabled, agents.enabled, daemonSet.enabled, daemonset.enabled, netmon.enabled, networkCosts.enabled, networkMonitor.enabled]
a DaemonSet runs one pod on every node: [autoscaling, highAvailability, pdb, podDisruptionBudget, replicaCount, replicas, topologySpreadConstraints]
the agent takes the token of a cluster alone (config.clusterToken): [config.patToken, patToken]
the chart sets it: [livenessProbe.httpGet, readinessProbe.httpGet, startupProbe.httpGet]
the endpoints are those of one node each, so use kubectl port-forward: [ingress]
the namespace is helm's --namespace: [namespace, namespaceOverride]
the pod needs neither: [hostIPC, hostPID, shareProcessNamespace]
the pod has one container, which the chart makes; extraObjects takes workloads of yours: [command, extraContainers, extraInitContainers, initContainers, lifecycle, lifecycleHooks, sidecars]
the Service is headless, for each pod is a target of its own: [service.clusterIP, service.nodePort, service.type]
the service account's token is always mounted, for the agent lists the pods of its node with it: [automountServiceAccountToken, serviceAccount.automount, serviceAccount.automountServiceAccountToken]
the token is always kept in a Secret: [config.useSecretForToken]
the node's own runtime runs the pod, which shares its network: [runtimeClassName]
the scheduler is the cluster's: [schedulerName]
Kubernetes 1.25 has removed PodSecurityPolicy: [podSecurityPolicy, psp, rbac.pspEnabled, rbac.pspUseAppArmor]
/metrics is always served; prometheusScrape, podMonitor.enabled or serviceMonitor.enabled makes a Prometheus find it: [metrics.enabled, monitoring.enabled, prometheus.enabled]
config.clusterId alone names the cluster: [cluster.name, clusterName, config.clusterName, config.kubeContextName, kubeContextName]
priorityClassName names a class that exists; the chart creates none: [priorityClass.create, priorityClass.description, priorityClass.enabled, priorityClass.preemptionPolicy, priorityClass.value]
state.type is emptyDir or hostPath; a claim cannot be of every node: [persistence.accessModes, persistence.existingClaim, persistence.size, persistence.storageClass, persistence.storageClassName]
the context is taken word for word, so give none where none is wanted: [containerSecurityContext.enabled, podSecurityContext.enabled, securityContext.enabled]
null takes the probe away: [livenessProbe.enabled, readinessProbe.enabled, startupProbe.enabled]
{{- end -}}

{{/* One line for each value that is not where it belongs; nothing where all are. */}}
{{- define "netmon.elsewhere" -}}
{{- $known := dict -}}
{{- range $object, $keys := include "netmon.known" . | fromYaml -}}
{{- range $keys -}}
{{- $_ := set $known (trimPrefix ".." (printf "%s.%s" $object .)) $object -}}
{{- end -}}
{{- end -}}
{{- $closed := include "netmon.known" . | fromYaml -}}
{{- $folders := dict -}}
{{- range $home, $others := include "netmon.folders" . | fromYaml -}}
{{- range $others -}}
{{- $_ := set $folders . (trimPrefix "." $home) -}}
{{- end -}}
{{- end -}}
{{- $said := dict -}}
{{- range $home, $others := include "netmon.homes" . | fromYaml -}}
{{- range $others -}}
{{- $_ := set $said . (printf " -> %s" $home) -}}
{{- end -}}
{{- end -}}
{{- range $reason, $others := include "netmon.never" . | fromYaml -}}
{{- range $others -}}
{{- $_ := set $said . (printf ": %s" $reason) -}}
{{- end -}}
{{- end -}}
{{- /* Objects that other charts have, and some of whose values are known. */ -}}
{{- $parents := dict -}}
{{- range $path := concat (keys $said) (keys $folders) -}}
{{- $parent := "" -}}
{{- range initial (splitList "." $path) -}}
{{- $parent = trimPrefix "." (printf "%s.%s" $parent .) -}}
{{- $_ := set $parents $parent true -}}
{{- end -}}
{{- end -}}
{{- $table := dict "known" $known "closed" $closed "folders" $folders "said" $said "parents" $parents -}}
{{- include "netmon.walk" (dict "at" "" "home" "" "values" .Values "open" false "table" $table) -}}
{{- if eq (toString .Values.enabled) "false" }}
  enabled: false is for the condition of an umbrella chart; helm uninstall takes the agent away
{{- end -}}
{{- end -}}

{{/* Of an object: `at` as it is written, `home` as it is called here, `open` where it may hold anything. */}}
{{- define "netmon.walk" -}}
{{- $table := .table -}}
{{- range $key, $value := .values -}}
{{- $at := trimPrefix "." (printf "%s.%s" $.at $key) -}}
{{- $home := trimPrefix "." (printf "%s.%s" $.home $key) -}}
{{- $isMap := and (kindIs "map" $value) (not (empty $value)) -}}
{{- $isKnown := or (hasKey $table.known $home) (and (hasKey $table.known $.home) (not (hasKey $table.closed $.home)) (ne $.at $.home)) -}}
{{- $next := dict "at" $at "home" $home "values" $value "open" false "table" $table -}}
{{- if and $isMap (hasKey $table.folders $at) -}}
{{- include "netmon.walk" (set $next "home" (get $table.folders $at)) -}}
{{- else if and $isMap (hasKey $table.parents $at) (not $isKnown) -}}
{{- include "netmon.walk" $next -}}
{{- else if hasKey $table.said $at }}
  {{ $at }}{{ get $table.said $at }}
{{- else if and $isKnown $isMap (or (hasKey $table.closed $home) (eq $at $home)) -}}
{{- include "netmon.walk" (set $next "open" (not (hasKey $table.closed $home))) -}}
{{- else if $isKnown -}}
{{- if ne $at $home }}
  {{ $at }} -> {{ $home }}
{{- end -}}
{{- else if and $isMap (hasKey $table.parents $home) -}}
{{- include "netmon.walk" $next -}}
{{- else if hasKey $table.said $home }}
  {{ $at }}{{ get $table.said $home }}
{{- else if not (or $.open (kindIs "invalid" $value)) }}
  {{ $at }}: there is no such value; `helm show values` lists all
{{- end -}}
{{- end -}}
{{- end -}}
